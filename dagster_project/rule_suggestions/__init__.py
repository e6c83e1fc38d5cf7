"""Rules proposed from an incident: what separates its traces from those before it. A person accepts them."""
