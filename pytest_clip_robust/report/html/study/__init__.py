"""The page of a panel run, panel.html: findings, figures over models, shares of factors and all models."""
