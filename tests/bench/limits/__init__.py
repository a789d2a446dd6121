"""What limits cost a call."""
