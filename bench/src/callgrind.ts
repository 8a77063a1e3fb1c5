/** Self cost, in instructions, of one function in one source file. */
export interface Cost {
  file: string
  function: string
  object: string
  instructions: number
}

/**
 * Reads the output of callgrind. Code that was inlined counts for the file that it was written in. Throws when the text is not of
 * callgrind, or counts anything but instructions first.
 */
export function readCallgrind(text: string): Cost[] {
  if (!/^events: Ir\b/m.test(text)) throw new Error('this is no output of callgrind that counts instructions')
  const names = { file: new Map<string, string>(), fn: new Map<string, string>(), object: new Map<string, string>() }
  const costs = new Map<string, Cost>()
  let file = ''
  let fn = ''
  let object = ''
  let skipsNext = false
  for (const line of text.split('\n')) {
    const [, key, value] = /^(ob|fl|fi|fe|fn|cob|cfi|cfl|cfn)=(.*)$/.exec(line) ?? []
    if (key !== undefined) {
      const kind = key.endsWith('fn') ? 'fn' : key.endsWith('ob') ? 'object' : 'file'
      const name = named(names[kind], value!)
      // Lines that begin with c describe the callee: they may introduce a name, and move nothing.
      if (key === 'ob') object = name
      else if (key === 'fn') fn = name
      else if (key === 'fl' || key === 'fi' || key === 'fe') file = name
    } else if (line.startsWith('calls=')) {
      skipsNext = true // The cost of the callee stands there with it.
    } else if (/^[+\-*\d]/.test(line)) {
      const instructions = Number(line.split(' ')[1])
      if (skipsNext) skipsNext = false
      else if (Number.isFinite(instructions)) add(costs, { file, function: fn, object, instructions })
    }
  }
  return [...costs.values()]
}

/** `(7) name` the first time, `(7)` from then on. */
function named(known: Map<string, string>, value: string): string {
  const [, id, name] = /^\((\d+)\)(?: (.*))?$/.exec(value) ?? []
  if (id === undefined) return value
  if (name !== undefined) known.set(id, name)
  return known.get(id) ?? ''
}

function add(costs: Map<string, Cost>, cost: Cost): void {
  const key = `${cost.file}\n${cost.function}\n${cost.object}`
  const known = costs.get(key)
  if (known === undefined) costs.set(key, cost)
  else known.instructions += cost.instructions
}

/** The cost of one more message: two runs of different length, so that the start and the end of the program cancel. */
export function perMessage(short: readonly Cost[], long: readonly Cost[], messages: number): Cost[] {
  const keyOf = (cost: Cost): string => `${cost.file}\n${cost.function}\n${cost.object}`
  const before = new Map(short.map((cost) => [keyOf(cost), cost.instructions]))
  return long
    .map((cost) => ({ ...cost, instructions: (cost.instructions - (before.get(keyOf(cost)) ?? 0)) / messages }))
    .filter(({ instructions }) => instructions > 0.005)
    .sort((a, b) => b.instructions - a.instructions)
}

const rooms = /addon\/native\/src\/(base|net|codec|exchange|reactor)\//
const allocator = /malloc|free|calloc|realloc|_int_|tcache|operator new|operator delete|unlink_chunk|arena_/
const copying = /^_*(mem|str)(cpy|move|chr|rchr|set|cmp|len)|__mem\w+_(avx|evex|sse|erms)/
const kernelEntry =
  /^_*(recv|recvfrom|send|sendmsg|epoll_\w+|read|write|writev|accept4?|close|setsockopt|shutdown|poll|ppoll|futex\w*)(_nocancel|_cancel)?(\W|$)|syscall|cancel/

/** Which part of a message's way a function belongs to. */
export function partOf({ file, function: name }: Cost): string {
  const room = rooms.exec(file)?.[1]
  if (room !== undefined) return `\`${room}\``
  if (/(reactor_loop|epoll_echo)\.cc$/.test(file)) return 'the program itself'
  if (allocator.test(name)) return 'allocator'
  if (copying.test(name)) return 'copying and searching'
  if (kernelEntry.test(name)) return "the C library's way into the kernel"
  if (/clock_gettime|time/.test(name)) return 'reading the clock'
  if (/\/c\+\+\/|bits\/|stl_/.test(file)) return 'C++ library, inlined'
  return 'other'
}
