"""What a service shows to people: a page to try its model in, beside Swagger, and two models side by side."""
