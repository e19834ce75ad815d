"""What the server keeps: narrow interfaces per concern, and SQLite behind them."""
