// The server's command table: arguments and their ranges.

let commands = new Map();

/** Store the table of a hello message. */
export function takeTable(table) {
  commands = new Map(table.map((command) => [command.address, command]));
}

/** Whether the server has a command; `address` with its {deck} or {bus}. */
export function knows(address) {
  return commands.has(address);
}

/** One argument: {name, low, high, unit, default, choices, help}. Throws if it does not exist. */
export function argument(address, name) {
  const command = commands.get(address);
  const found = command?.args.find((one) => one.name === name);
  if (!found) throw new Error(`the server's table has no ${address} ${name}`);
  return found;
}

/** The help text of a command. */
export function help(address) {
  const command = commands.get(address);
  return command ? command.help : "";
}
