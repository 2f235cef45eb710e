"""The web page: layout, events and pictures. All tensor math is `adafv_core`'s."""
