import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { Example } from '../support/example.js'

interface Said {
  type: string
  message?: string
  reactor?: number
  players?: { name: string; x: number; y: number }[]
}

describe('the example game', function () {
  this.timeout(120_000)
  let example: Example
  let port: number
  const clients: Client[] = []

  beforeEach(async () => {
    example = new Example('game')
    ;[port] = (await example.ports()) as [number]
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await Example.killAll()
  })

  async function stopped(): Promise<void> {
    for (const client of clients.splice(0)) client.destroy()
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')
  }
  async function connected(): Promise<Client> {
    const client = await Client.connect(port)
    clients.push(client)
    return client
  }
  const heard = ({ received }: Client): Said[] =>
    received
      .toString()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Said)
  const until = (client: Client, done: (said: Said) => boolean): Promise<void> => client.until((one) => heard(one).some(done))
  const say = (client: Client, command: object): void => client.write(`${JSON.stringify(command)}\n`)
  async function joined(room: string, name: string): Promise<Client> {
    const client = await connected()
    say(client, { type: 'join', room, name })
    await until(client, ({ type }) => type === 'joined')
    return client
  }
  const shows = (count: number) => (said: Said) => said.players?.length === count

  it('brings all players of a room to one reactor, whichever accepted them, and shows their steps', async () => {
    const rooms = ['a', 'b', 'c', 'd']
    const players = await Promise.all(
      Array.from({ length: 24 }, (_, i) => joined(rooms[i % rooms.length]!, `player-${i}`).then((client) => ({ client, i }))),
    )
    const reactors = new Map<string, Set<number>>(rooms.map((room) => [room, new Set()]))
    for (const { client, i } of players)
      reactors.get(rooms[i % rooms.length]!)!.add(heard(client).find(({ type }) => type === 'joined')!.reactor!)
    for (const [room, homes] of reactors) expect(homes.size, room).to.equal(1)
    expect(new Set([...reactors.values()].flatMap((homes) => [...homes])).size).to.equal(2)
    for (const { client } of players) await until(client, shows(6))
    say(players[0]!.client, { type: 'go', dx: 1, dy: 1 })
    const moved = ({ players: seen }: Said): boolean =>
      seen?.some(({ name, x, y }) => name === 'player-0' && x === 1 && y === 1) ?? false
    for (const { client, i } of players) if (i % rooms.length === 0) await until(client, moved)
    for (const { client, i } of players) if (i % rooms.length !== 0) expect(heard(client).some(moved)).to.equal(false)
    // No player leaves the field.
    for (let i = 0; i < 3; i++) say(players[1]!.client, { type: 'go', dx: -1, dy: -1 })
    say(players[1]!.client, { type: 'leave' })
    await until(players[1]!.client, ({ type }) => type === 'left')
    await until(players[5]!.client, shows(5))
    await stopped()
  })

  it('keeps players and their places over a reload', async () => {
    const [ann, ben] = [await joined('lobby', 'ann'), await joined('lobby', 'ben')]
    say(ann, { type: 'go', dx: 1, dy: 0 })
    await until(ben, ({ players }) => players?.some(({ name, x }) => name === 'ann' && x === 1) ?? false)
    // A client without a room gets no states of it.
    const stranger = await connected()
    say(stranger, { type: 'go', dx: 1, dy: 0 })
    await until(stranger, ({ type }) => type === 'error')
    example.signal('SIGHUP')
    await example.until((output) => output.includes('reloaded'))
    say(stranger, { type: 'go', dx: 1, dy: 0 })
    await stranger.until((client) => heard(client).length === 2)
    expect(heard(stranger).map(({ type }) => type)).to.deep.equal(['error', 'error'])
    say(ben, { type: 'go', dx: 0, dy: 1 })
    const both = ({ players }: Said): boolean =>
      (players?.some(({ name, x, y }) => name === 'ann' && x === 1 && y === 0) &&
        players.some(({ name, x, y }) => name === 'ben' && x === 0 && y === 1)) ??
      false
    await until(ann, both)
    await until(ben, both)
    await stopped()
  })

  it('answers what is no command, and goes on with it and everybody else', async () => {
    const player = await joined('lobby', 'ann')
    const wrong = [
      'hello',
      'null',
      '[]',
      '7',
      '{}',
      '{"type":"__proto__"}',
      '{"type":"join"}',
      '{"type":"join","room":"Not A Room","name":"x"}',
      '{"type":"join","room":"lobby","name":""}',
      '{"type":"join","room":["lobby"],"name":{"a":1}}',
      '{"type":"go","dx":1,"dy":0}', // before it has joined
      '{"type":"go","dx":2,"dy":0}',
      '{"type":"go","dx":"1","dy":null}',
      '{"type":"leave"}',
      '{"type":"join","room":"lobby","name":"ann"}', // the name is taken
    ]
    const stranger = await connected()
    stranger.write(wrong.map((line) => `${line}\n`).join(''))
    await stranger.until((client) => heard(client).filter(({ type }) => type === 'error').length === wrong.length)
    say(stranger, { type: 'join', room: 'lobby', name: 'ben' })
    await until(player, shows(2))
    const long = await connected()
    long.write('x'.repeat(600))
    await long.untilClosed()
    for (let i = 0; i < 20; i++) {
      const noisy = await connected()
      noisy.write(randomBytes(2_000))
      noisy.socket.end()
      await noisy.untilClosed()
    }
    expect(player.closed).to.equal(false)
    await stopped()
  })

  it('ends in the room that was joined last, however fast players change their minds', async () => {
    const rooms = Array.from({ length: 8 }, (_, i) => `room-${i}`)
    const last = ['a', 'b', 'c', 'd']
    // Accepted by either reactor, and on the way to either when the last room is named.
    const players = await Promise.all(
      Array.from({ length: 24 }, async (_, i) => {
        const player = await connected()
        const name = `player-${i}`
        player.write(
          rooms.map((room) => `{"type":"join","room":"${room}","name":"${name}"}\n{"type":"leave"}\n`).join('') +
            `{"type":"join","room":"${last[i % last.length]}","name":"${name}"}\n`,
        )
        return player
      }),
    )
    for (const player of players) await until(player, shows(6))
    await stopped()
  })

  it('has 64 players in a room, and says so to the next one', async () => {
    await Promise.all(Array.from({ length: 64 }, (_, i) => joined('full', `player-${i}`)))
    const next = await connected()
    say(next, { type: 'join', room: 'full', name: 'late' })
    await until(next, ({ message }) => message === 'the room is full')
    say(next, { type: 'join', room: 'other', name: 'late' })
    await until(next, ({ type }) => type === 'joined')
    await stopped()
  })

  it('keeps no queue of states for a player who does not read', async () => {
    const { Room } = await roomModule()
    const room = new Room()
    let writes = 0
    const slow = { write: (): boolean => ++writes < 3 }
    const player = { name: 'slow', x: 0, y: 0, dx: 0, dy: 0 }
    room.add(slow, player)
    for (let i = 0; i < 10; i++) {
      player.dx = 1
      room.tick()
    }
    expect(writes).to.equal(3)
    room.drained(slow)
    room.tick()
    expect(writes).to.equal(4)
  })
})

interface RoomModule {
  Room: new () => { add(member: object, player: object): void; drained(member: object): void; tick(): void }
}
async function roomModule(): Promise<RoomModule> {
  const { importExample } = await import('../support/example_module.js')
  return (await importExample('game/room.ts')) as RoomModule
}
