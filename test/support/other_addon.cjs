// For --require: this process and its threads load the native build that MULTIREACTOR_TEST_ADDON names, and not the shipped one.
// Used to run tests with an addon that is compiled with sanitizers: see scripts/sanitized-in-node.mjs.
const { dlopen } = process
process.dlopen = (module, file, ...rest) =>
  dlopen.call(process, module, file.endsWith('multireactor.node') ? process.env.MULTIREACTOR_TEST_ADDON : file, ...rest)
