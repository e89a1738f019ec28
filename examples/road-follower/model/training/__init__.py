"""Train the robot's steering model and judge it."""
