"""Browsers beside Chromium, by the WebDriver protocols that they speak themselves."""
