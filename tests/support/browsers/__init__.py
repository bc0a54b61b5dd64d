"""Browsers other than Chromium, through the WebDriver protocols that they support themselves."""
