"""The API: every action of the page as an endpoint with a stable name and documented arguments."""
