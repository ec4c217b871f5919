"""The engine on any pictures, whole and broken: what is built, what is refused with which reason, and anything else.

    python -m tests.fuzz DIR [--engine vips|pillow] [--mutate N] [--seed S] [--seconds T] [--json FILE]

Every picture goes the way of an upload and a build: limits on the content, header, limits on the header, build. All
pixels are touched in a limited child process, so that whatever a decoder does, this process lives on and counts it.
"""
