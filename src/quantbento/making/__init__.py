"""From a recipe to stored variants: the plan of what will be done, and the pipeline that does it."""
