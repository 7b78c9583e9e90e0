"""The budgets of the architecture's section 9, product and floor side by side in one run."""
