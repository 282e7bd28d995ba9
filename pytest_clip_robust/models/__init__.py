"""Model specs and the loaders behind them."""
