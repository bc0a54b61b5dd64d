// How a page from another machine gets what browsers give to encrypted pages only: a thread for
// its sound, and Opus.

// Steps in a fold, for a page that was opened at `place`, as `location` is.
export function secureSteps(place) {
  const fold = document.createElement("details");
  fold.className = "listen-steps";
  const summary = document.createElement("summary");
  summary.className = "button";
  summary.textContent = "Listen over HTTPS";
  const list = document.createElement("ol");
  list.append(
    step("Start the server with ", code("--http-cert auto"),
      " (in a configuration: ", code('http_cert = "auto"'), "). It makes a certificate, and prints the "
      + "certificate's SHA-256 fingerprint and the page's new addresses."),
    step("Open ", code(`https://${place.host}/`), " here, or the printed address with its token."),
    step("The browser warns, because nobody else has signed the certificate. Look at the "
      + "certificate there and compare the fingerprint with the printed one."),
    step("Where both are the same, go on: Advanced, Proceed (Chrome); Advanced, Accept the Risk "
      + "(Firefox); Show Details, Visit This Website (Safari). The browser remembers it."),
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
