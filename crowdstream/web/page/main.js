const log = document.getElementById("log");
const socket = new WebSocket(`ws://${location.host}/live`);
socket.onmessage = (event) => { log.textContent = event.data.slice(0, 2000) + "\n" + log.textContent.slice(0, 20000); };
