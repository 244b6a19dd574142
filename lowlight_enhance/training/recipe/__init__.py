"""Train, export and evaluate all models of a recipe by one command."""
