"""Two traces against each other: how far apart, what is allowed, what is reported."""
