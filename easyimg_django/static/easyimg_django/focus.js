// Choosing a focus point: a click, a drag or the arrow keys on the picture write into the two number inputs.
'use strict';

(() => {
  const STEP = 0.01;
  const LEAP = 0.1;
  const MOVES = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

  const within = value => Math.min(1, Math.max(0, value));
  const written = value => String(Math.round(value * 1000) / 1000);

  function start(root) {
    const frame = root.querySelector('.easyimg-frame');
    const [across, down] = root.querySelectorAll('input');
    const clear = root.querySelector('[data-easyimg-clear]');
    const isGiven = () => across.value !== '' && down.value !== '';
    const point = () => (isGiven() ? [within(+across.value), within(+down.value)] : [0.5, 0.5]);

    function show() {
      const [x, y] = point();
      clear.hidden = !isGiven();
      if (!frame) return;
      for (const circle of frame.querySelectorAll('circle')) {
        circle.setAttribute('cx', `${x * 100}%`);
        circle.setAttribute('cy', `${y * 100}%`);
      }
      frame.classList.toggle('easyimg-none', !isGiven());
      const text = root.dataset.value.replace('{x}', Math.round(x * 100)).replace('{y}', Math.round(y * 100));
      frame.setAttribute('aria-valuenow', Math.round(x * 100));
      frame.setAttribute('aria-valuetext', isGiven() ? text : root.dataset.none);
    }

    function choose(x, y) {
      across.value = written(within(x));
      down.value = written(within(y));
      show();
    }

    function drop() {
      across.value = down.value = '';
      show();
      (frame || across).focus();
    }

    function follow(event) {
      const box = frame.getBoundingClientRect();
      choose((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }

    across.addEventListener('input', show);
    down.addEventListener('input', show);
    clear.addEventListener('click', drop);
    if (frame) {
      // Two dimensions in one control: its text says both, the number only the first.
      const states = {role: 'slider', tabindex: '0', 'aria-valuemin': '0', 'aria-valuemax': '100'};
      for (const [name, value] of Object.entries(states)) frame.setAttribute(name, value);
      frame.setAttribute('aria-label', root.dataset.label);
      frame.setAttribute('aria-roledescription', root.dataset.role);
      root.querySelector('.easyimg-how').hidden = false;
      frame.classList.add('easyimg-active');

      frame.addEventListener('pointerdown', event => {
        if (event.button !== 0) return;
        event.preventDefault();
        frame.focus({preventScroll: true});
        frame.setPointerCapture(event.pointerId);
        follow(event);
      });
      frame.addEventListener('pointermove', event => {
        if (frame.hasPointerCapture(event.pointerId)) follow(event);
      });
      frame.addEventListener('keydown', event => {
        const move = MOVES[event.key];
        if (move) {
          const size = event.shiftKey ? LEAP : STEP;
          const [x, y] = point();
          choose(x + move[0] * size, y + move[1] * size);
        } else if (event.key === 'Delete' || event.key === 'Backspace') {
          drop();
        } else {
          return;
        }
        event.preventDefault();
      });
    }
    show();
  }

  document.addEventListener('DOMContentLoaded', () => {
    for (const root of document.querySelectorAll('[data-easyimg-focus]')) start(root);
  });
})();
