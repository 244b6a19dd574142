"""The offline half that makes the student network; the only part that needs torch."""
