"""The tabs of the page, one a file: build() lays out, bind() wires."""
