// Shows the picture that was chosen in a file input, before it is sent. It is drawn, not loaded by a URL, so that a
// Content-Security-Policy need not allow any.
'use strict';

(() => {
  const SIDE = 240;

  function size(bytes) {
    const [number, unit] = bytes < 1e6 ? [bytes / 1e3, 'kilobyte'] : [bytes / 1e6, 'megabyte'];
    const digits = number < 10 ? 1 : 0;
    const language = document.documentElement.lang || undefined;
    return new Intl.NumberFormat(language, {style: 'unit', unit, maximumFractionDigits: digits}).format(number);
  }

  function drawn(picture) {
    const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    const ink = canvas.getContext('2d');
    ink.imageSmoothingQuality = 'high';
    ink.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  async function show(input) {
    const place = input.closest('.easyimg-input')?.querySelector('.easyimg-chosen');
    if (!place) return;
    const file = input.files[0];
    place.hidden = !file;
    place.replaceChildren();
    if (!file) return;
    const caption = document.createElement('p');
    const text = place.dataset.text.replace('{name}', () => file.name);
    caption.textContent = text.replace('{size}', () => size(file.size));
    place.append(caption);
    try {
      const picture = await createImageBitmap(file);
      if (input.files[0] !== file) return;
      caption.textContent += ` (${picture.width} × ${picture.height})`;
      const canvas = drawn(picture);
      picture.close();
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', file.name);
      place.prepend(canvas);
    } catch {
      // A format that this browser cannot show: the name alone will do, and the server says what is allowed.
    }
  }

  // On the document, so that inputs which are added later (inline forms) work as well.
  document.addEventListener('change', event => {
    if (event.target.matches?.('input[type=file][data-easyimg-preview]')) show(event.target);
  });
  document.addEventListener('reset', event => {
    for (const input of event.target.querySelectorAll('input[type=file][data-easyimg-preview]')) {
      setTimeout(() => show(input));
    }
  });
})();
