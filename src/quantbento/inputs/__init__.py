"""What a recipe names, found and read: the source model, samples, the job that quantizers get."""
