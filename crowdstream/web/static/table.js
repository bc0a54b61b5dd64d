// The command table: ranges of arguments, as the server declares them.

let commands = new Map();

/** Take the table of a hello. */
export function takeTable(table) {
  commands = new Map(table.map((command) => [command.address, command]));
}

/** Whether the server knows a command; `address` with its {deck} or {bus}. */
export function knows(address) {
  return commands.has(address);
}

/** One argument: {name, low, high, unit, default, choices, help}. Throws for an unknown one. */
export function argument(address, name) {
  const command = commands.get(address);
  const found = command && command.args.find((one) => one.name === name);
  if (!found) throw new Error(`the server's table has no ${address} ${name}`);
  return found;
}

/** What a command does, in a sentence. */
export function help(address) {
  const command = commands.get(address);
  return command ? command.help : "";
}
