"""What users hold: the parts of a loaded model, and the choice of the code that runs them."""
