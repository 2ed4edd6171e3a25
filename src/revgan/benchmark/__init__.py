"""What a training step costs beside its peers, and the paper's Tables 2 to 4 measured anew."""
