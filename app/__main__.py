"""`python -m app` starts the page."""

from app.settings import refuse_vibe_mode

if __name__ == "__main__":
    refuse_vibe_mode()
    from app.main import main

    main()
