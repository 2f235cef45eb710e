"""The web page: layout, events and pictures. All tensor maths is `adafv_core`'s."""
