// Instructions for HTTPS: browsers provide an audio thread and Opus decoding only to secure pages.

// The steps as a foldable list, for a page opened at `place` (such as `location`).
export function secureSteps(place) {
  const fold = document.createElement("details");
  fold.className = "listen-steps";
  const summary = document.createElement("summary");
  summary.className = "button";
  summary.textContent = "Listen over HTTPS";
  const list = document.createElement("ol");
  list.append(
    step("Start the server with ", code("--http-cert auto"),
      " (in a configuration: ", code('http_cert = "auto"'), "). It creates a certificate, and prints the "
      + "certificate's SHA-256 fingerprint and the page's new URLs."),
    step("Open ", code(`https://${place.host}/`), " here, or the printed URL with its token."),
    step("The browser warns, because the certificate is self-signed. View the certificate there, and "
      + "compare its fingerprint with the printed one."),
    step("If they match, continue: Advanced, Proceed (Chrome); Advanced, Accept the Risk "
      + "(Firefox); Show Details, Visit This Website (Safari). The browser remembers the decision."),
  );
  fold.append(summary, list);
  return fold;
}

function step(...parts) {
  const item = document.createElement("li");
  item.append(...parts);
  return item;
}

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}
