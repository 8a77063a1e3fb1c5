import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { Client } from '../support/client.js'

const folder = fileURLToPath(new URL('../../../examples/redis/', import.meta.url))
const run = promisify(execFile)

/** The Debian package redis-tools has them; `scripts/setup-tools.sh` installs it. */
async function tool(name: string, ...args: string[]): Promise<string> {
  try {
    return (await run(name, args, { timeout: 60_000, maxBuffer: 1 << 26 })).stdout
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new Error(`${name} is not installed: run \`bash scripts/setup-tools.sh\``)
  }
}

describe('the redis example', function () {
  this.timeout(120_000)
  let child: ChildProcess
  let port: number
  let errors = ''

  before(async () => {
    child = spawn(process.execPath, ['main.js'], { cwd: folder, env: { ...process.env, PORT: '0', REACTORS: '3' } })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    const exit = once(child, 'exit').then(() => expect.fail(`it ended before it listened: ${errors}`))
    const [text] = (await Promise.race([once(child.stdout!.setEncoding('utf8'), 'data'), exit])) as [string]
    exit.catch(() => {})
    port = Number(/listening on port (\d+) with 3 reactors/.exec(text)![1])
  })
  after(async () => {
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    expect(await exited).to.deep.equal([0, null])
    expect(errors).to.equal('')
  })

  const cli = async (...words: string[]) => (await tool('redis-cli', '-p', String(port), ...words)).trimEnd()

  /** The replies to some commands that are sent at once, each a line of words. */
  async function raw(commands: string[], replies: string): Promise<void> {
    const client = await Client.connect(port)
    client.write(commands.map((command) => `${command}\r\n`).join(''))
    await client.bytes(replies.length)
    expect(client.received.toString('latin1')).to.equal(replies)
    client.destroy()
    await client.untilClosed()
  }

  beforeEach(async () => {
    await raw(['FLUSHALL'], '+OK\r\n')
  })

  describe('redis-cli', () => {
    it('sees strings, numbers, lists, hashes and sets', async () => {
      expect(await cli('PING')).to.equal('PONG')
      expect(await cli('SET', 'greeting', 'hello world')).to.equal('OK')
      expect(await cli('GET', 'greeting')).to.equal('hello world')
      expect(await cli('APPEND', 'greeting', '!')).to.equal('12')
      expect(await cli('INCRBY', 'n', '41')).to.equal('41')
      expect(await cli('INCR', 'n')).to.equal('42')
      expect(await cli('RPUSH', 'list', 'a', 'b', 'c')).to.equal('3')
      expect(await cli('LRANGE', 'list', '0', '-1')).to.equal('a\nb\nc')
      expect(await cli('LPOP', 'list')).to.equal('a')
      expect(await cli('HSET', 'hash', 'f', '1', 'g', '2')).to.equal('2')
      expect(await cli('HGETALL', 'hash')).to.equal('f\n1\ng\n2')
      expect(await cli('SADD', 'set', 'x', 'y', 'x')).to.equal('2')
      expect(await cli('TYPE', 'set')).to.equal('set')
      expect(await cli('DBSIZE')).to.equal('5')
      expect(await cli('INCR', 'list')).to.match(/^WRONGTYPE/)
      expect(await cli('NOSUCH')).to.match(/^ERR unknown command 'NOSUCH'/)
      expect(await cli('GET')).to.match(/^ERR wrong number of arguments/)
      expect(await cli('INFO'))
        .to.include('reactors:3')
        .and.include('db0:keys=5')
    })

    it('speaks RESP3', async () => {
      await cli('HSET', 'h', 'f', 'v')
      expect(await cli('-3', '--json', 'HGETALL', 'h')).to.equal('{"f":"v"}')
    })

    it('scans every key once that stays, over all shards', async () => {
      const keys = Array.from({ length: 500 }, (_, i) => `key:${i}`)
      await raw(
        keys.map((key) => `SET ${key} v`),
        '+OK\r\n'.repeat(keys.length),
      )
      expect((await cli('--scan', '--pattern', 'key:*')).split('\n').sort()).to.deep.equal([...keys].sort())
      expect((await cli('KEYS', 'key:1?')).split('\n').sort()).to.deep.equal(keys.slice(10, 20))
    })
  })

  it('answers pipelined commands of all shards in their order, whatever the parts they come in', async () => {
    const client = await Client.connect(port)
    const commands: string[] = []
    const replies: string[] = []
    for (let i = 0; i < 2000; i++) {
      commands.push(`SET k${i % 100} v${i}`, `GET k${i % 100}`, 'PING', 'nonsense')
      replies.push(
        '+OK\r\n',
        `$${`v${i}`.length}\r\nv${i}\r\n`,
        '+PONG\r\n',
        "-ERR unknown command 'nonsense', with args beginning with: \r\n",
      )
    }
    const bytes = Buffer.from(commands.map((command) => `${command}\r\n`).join(''))
    for (let at = 0; at < bytes.length; at += 1013) client.write(bytes.subarray(at, at + 1013))
    const expected = replies.join('')
    await client.bytes(expected.length)
    expect(client.received.toString() === expected).to.equal(true)
    client.destroy()
    await client.untilClosed()
  })

  it('refuses a transaction over two shards as CROSSSLOT, and runs one within a shard', async () => {
    await raw(
      ['MULTI', 'SET {a}1 x', 'SET b x', 'EXEC'],
      "+OK\r\n+QUEUED\r\n-CROSSSLOT Keys in request don't hash to the same slot\r\n" +
        '-EXECABORT Transaction discarded because of previous errors.\r\n',
    )
    for (const tag of ['a', 'b', 'c', 'd', 'e']) {
      await raw(
        ['MULTI', `SET {${tag}}1 5`, `INCR {${tag}}1`, `LPUSH {${tag}}1 x`, `GET {${tag}}1`, 'EXEC', `GET {${tag}}1`],
        '+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n:6\r\n' +
          '-WRONGTYPE Operation against a key holding the wrong kind of value\r\n$1\r\n6\r\n$1\r\n6\r\n',
      )
    }
    await raw(
      ['EXEC', 'DISCARD', 'MULTI', 'MULTI', 'DISCARD'],
      '-ERR EXEC without MULTI\r\n-ERR DISCARD without MULTI\r\n+OK\r\n-ERR MULTI calls can not be nested\r\n+OK\r\n',
    )
  })

  it('lets commands of one connection take effect in the order in which they were sent, wherever their keys lie', async () => {
    for (const tag of ['a', 'b', 'c', 'd', 'e']) {
      await raw(
        [`SET ${tag} 10`, 'MULTI', `INCR ${tag}`, 'EXEC', `GET ${tag}`, `DEL ${tag}`, `EXISTS ${tag}`],
        '+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:11\r\n$2\r\n11\r\n:1\r\n:0\r\n',
      )
    }
    // Keys of all shards, in runs of all lengths: each command is run where its key lies.
    const keys = Array.from({ length: 40 }, (_, i) => `run${i % 7}:${i}`)
    await raw(
      [...keys.map((key) => `SET ${key} v`), ...[...keys].reverse().map((key) => `GET ${key}`)],
      '+OK\r\n'.repeat(40) + '$1\r\nv\r\n'.repeat(40),
    )
    // A subscriber that is notified of a change can read it, on any reactor.
    const [writer, subscriber] = [await Client.connect(port), await Client.connect(port)]
    const reader = await Client.connect(port)
    subscriber.write('SUBSCRIBE changes\r\n')
    const subscribed = '*3\r\n$9\r\nsubscribe\r\n$7\r\nchanges\r\n:1\r\n'
    await subscriber.bytes(subscribed.length)
    let published = subscribed
    let read = ''
    for (let i = 100; i < 200; i++) {
      const key = `key${i}`
      writer.write(`SET ${key} ${i}\r\nSET ${key} ${i + 1}\r\nPUBLISH changes ${key}\r\n`)
      published += `*3\r\n$7\r\nmessage\r\n$7\r\nchanges\r\n$6\r\n${key}\r\n`
      await subscriber.bytes(published.length)
      reader.write(`GET ${key}\r\n`)
      read += `$3\r\n${i + 1}\r\n`
      await reader.bytes(read.length)
    }
    expect(subscriber.received.toString()).to.equal(published)
    expect(reader.received.toString()).to.equal(read)
    await writer.bytes('+OK\r\n+OK\r\n:1\r\n'.length * 100)
    expect(writer.received.toString()).to.equal('+OK\r\n+OK\r\n:1\r\n'.repeat(100))
    for (const client of [writer, subscriber, reader]) {
      client.destroy()
      await client.untilClosed()
    }
  })

  it('tells a subscriber that it has subscribed before it tells it anything else', async () => {
    await raw(
      ['SET k v', 'SUBSCRIBE c', 'PUBLISH c x', 'GET k', 'UNSUBSCRIBE', 'PUBLISH c y', 'RESET'],
      '+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n' +
        "-ERR Can't execute 'publish': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n" +
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n" +
        '*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n:0\r\n+RESET\r\n',
    )
    const client = await Client.connect(port)
    client.write('HELLO 3\r\n')
    await client.until(({ received }) => received.includes('modules\r\n*0\r\n'))
    const hello = client.received.length
    client.write('SET k v\r\nSUBSCRIBE c\r\nPUBLISH c x\r\nGET k\r\n')
    await client.until(({ received }) => received.includes('$1\r\nv\r\n'))
    const [head, tail] = client.received.subarray(hello).toString().split('>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n')
    expect(head).to.match(/^\+OK\r\n>3\r\n\$9\r\nsubscribe\r\n\$1\r\nc\r\n:1\r\n/)
    expect(`${head}${tail}`).to.equal('+OK\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n:1\r\n$1\r\nv\r\n')
    client.destroy()
    await client.untilClosed()
  })

  it('gives each connection its own replies, whatever patterns others ask for', async () => {
    await raw(['SET k v', 'KEYS [z-a]'], '+OK\r\n*1\r\n$1\r\nk\r\n')
    const patterns = ['[z-a', '[^', '[', '[]', '(', '{1}', 'a\\\\', '[[:alpha:]]']
    await raw(
      patterns.map((pattern) => `KEYS x${pattern}`),
      '*0\r\n'.repeat(patterns.length),
    )
    await raw(['PING'], '+PONG\r\n')
  })

  it('answers KEYS a*a*…b over long keys at once', async () => {
    await raw(
      [`SET ${'a'.repeat(10_000)} v`, `KEYS ${'a*'.repeat(200)}b`, `KEYS ${'a*'.repeat(3)}`],
      `+OK\r\n*0\r\n*1\r\n$10000\r\n${'a'.repeat(10_000)}\r\n`,
    )
  })

  for (const [bad, words] of [
    ['*x\r\n', 'invalid multibulk length'],
    ['*3000000000\r\n', 'invalid multibulk length'],
    ['*1\r\n$-1\r\n', 'invalid bulk length'],
    ['*1\r\n$2000000000\r\n', 'invalid bulk length'],
    ['*1\r\nfoo\r\n', "expected '$', got 'f'"],
    ['set "k v\r\n', 'unbalanced quotes in request'],
    ['x'.repeat(70_000), 'too big inline request'],
  ] as const) {
    it(`says what is wrong, behind the replies that are owed, and closes: ${words}`, async () => {
      const client = await Client.connect(port)
      // Keys of all shards: their replies are awaited.
      client.write(`SET a 1\r\nSET b 2\r\nSET c 3\r\nPING\r\n${bad}`)
      await client.untilClosed()
      expect(client.received.toString()).to.equal(`${'+OK\r\n'.repeat(3)}+PONG\r\n-ERR Protocol error: ${words}\r\n`)
      expect(client.error).to.equal(undefined)
    })
  }

  it('refuses in the words of redis-server', async () => {
    const arity = (name: string) => `ERR wrong number of arguments for '${name}' command`
    const notInteger = 'ERR value is not an integer or out of range'
    const least = '-9223372036854775808'
    for (const [line, reply] of [
      ['PING a b', arity('ping')],
      ['ECHO', arity('echo')],
      ['GET a b', arity('get')],
      ['LPOP l 1 2', arity('lpop')],
      ['RPOP l x', 'ERR value is out of range, must be positive'],
      ['EXEC x', "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"],
      ['LPOP l -1', 'ERR value is out of range, must be positive'],
      ['SPOP s 1 2', 'ERR syntax error'],
      ['SPOP s -1', 'ERR value is out of range, must be positive'],
      ['SPOP l', 'WRONGTYPE Operation against a key holding the wrong kind of value'],
      ['MSET k v k', arity('mset')],
      ['HSET h f', arity('hset')],
      ['HSET h f v f', arity('hset')],
      ['HINCRBY h f x', notInteger],
      ['HINCRBY h text 1', 'ERR hash value is not an integer'],
      ['HINCRBY h most 1', 'ERR increment or decrement would overflow'],
      ['INCR most', 'ERR increment or decrement would overflow'],
      [`DECRBY n ${least}`, 'ERR decrement would overflow'],
      ['INCRBY n 1.5', notInteger],
      ['INCR zeros', notInteger],
      ['SET k v EX', 'ERR syntax error'],
      ['SET k v NX XX', 'ERR syntax error'],
      ['SET k v EX 1 PX 1', 'ERR syntax error'],
      ['SET k v EX 1 KEEPTTL', 'ERR syntax error'],
      ['SET k v EX 0', "ERR invalid expire time in 'set' command"],
      ['SET k v EX 9223372036854775807', "ERR invalid expire time in 'set' command"],
      ['SETEX k 0 v', "ERR invalid expire time in 'setex' command"],
      ['EXPIRE n 9223372036854776', "ERR invalid expire time in 'expire' command"],
      ['EXPIRE n -9223372036854776', "ERR invalid expire time in 'expire' command"],
      ['EXPIRE n x', notInteger],
      ['EXPIRE n 1 AB', 'ERR Unsupported option AB'],
      ['EXPIRE n 1 NX XX', 'ERR NX and XX, GT or LT options at the same time are not compatible'],
      ['EXPIRE n 1 GT LT', 'ERR GT and LT options at the same time are not compatible'],
      ['SCAN x', 'ERR invalid cursor'],
      ['SCAN 0 COUNT 0', 'ERR syntax error'],
      ['FLUSHALL NOW', 'ERR syntax error'],
      ['SELECT 16', 'ERR DB index is out of range'],
      ['CONFIG NONE', "ERR unknown subcommand 'NONE'. Try CONFIG HELP."],
      ['nonsense a "b c"', "ERR unknown command 'nonsense', with args beginning with: 'a' 'b c' "],
    ] as const) {
      await raw(
        [
          'SET n 1',
          'SET zeros 007',
          'SET most 9223372036854775807',
          'LPUSH l x',
          'SADD s m',
          'HSET h text x most 9223372036854775807',
          line,
          'FLUSHALL',
        ],
        `+OK\r\n+OK\r\n+OK\r\n:1\r\n:1\r\n:2\r\n-${reply}\r\n+OK\r\n`,
      )
    }
  })

  it('keeps the conditions of EXPIRE: NX, XX, GT, LT', async () => {
    await raw(
      [
        ...['SET k v', 'EXPIRE k 100 XX', 'EXPIRE k 100 GT', 'EXPIRE k 100 NX', 'EXPIRE k 200 NX', 'TTL k'],
        ...['EXPIRE k 50 GT', 'EXPIRE k 200 GT', 'TTL k', 'EXPIRE k 300 LT', 'EXPIRE k 50 LT', 'EXPIRE k 60 XX GT', 'TTL k'],
        ...['PERSIST k', 'EXPIRE k 70 LT', 'TTL k', 'PEXPIREAT k 1 GT', 'EXPIRE k -1 LT', 'EXISTS k', 'EXPIRE k 1 NX'],
      ],
      `+OK\r\n${[0, 0, 1, 0, 100, 0, 1, 200, 0, 1, 1, 60, 1, 1, 70, 0, 1, 0, 0].map((n) => `:${n}\r\n`).join('')}`,
    )
  })

  it('counts with 64 bits, and pops so many as are asked for', async () => {
    await raw(
      ['SET n 9223372036854775806', 'INCR n', 'DECRBY n 9223372036854775807', 'DECRBY n 9223372036854775807', 'GET n'],
      '+OK\r\n:9223372036854775807\r\n:0\r\n:-9223372036854775807\r\n$20\r\n-9223372036854775807\r\n',
    )
    await raw(
      [
        'RPUSH l a b c',
        'LPOP l 2',
        'LPOP l 0',
        'RPOP l 9',
        'LPOP l 1',
        'LPOP l',
        'SADD s a b',
        'SPOP s 0',
        'SPOP s 9',
        'SPOP s',
        'EXISTS l s',
      ],
      ':3\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*0\r\n*1\r\n$1\r\nc\r\n*-1\r\n$-1\r\n:2\r\n*0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n:0\r\n',
    )
  })

  it('ends at QUIT, behind the replies before it, and runs nothing behind it', async () => {
    const client = await Client.connect(port)
    client.write('SET a 1\r\nSET b 2\r\nSET c 3\r\nQUIT\r\nSET a 2\r\n')
    await client.untilClosed()
    expect(client.received.toString()).to.equal('+OK\r\n'.repeat(4))
    await raw(['GET a'], '$1\r\n1\r\n')
    // More than the kernel takes at once: the connection is open while the commands behind QUIT are looked at.
    const value = 'x'.repeat(1 << 20)
    const large = await Client.connect(port)
    large.write(`*3\r\n$3\r\nSET\r\n$1\r\nv\r\n$${value.length}\r\n${value}\r\n`)
    await large.bytes('+OK\r\n'.length)
    large.write(`${'GET v\r\n'.repeat(8)}QUIT\r\nSET a 2\r\nSET b 2\r\nSET c 2\r\n`)
    await large.untilClosed()
    expect(large.received.subarray(-5).toString()).to.equal('+OK\r\n')
    expect(large.received.length).to.equal(10 + 8 * (value.length + '$1048576\r\n\r\n'.length))
    await raw(['MGET a b c'], '*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n')
  })

  it('closes a connection that does not speak RESP, after the answers that it is owed', async () => {
    const client = await Client.connect(port)
    client.write('PING\r\n*1\r\n+no\r\n')
    await client.untilClosed()
    expect(client.received.toString()).to.equal("+PONG\r\n-ERR Protocol error: expected '$', got '+'\r\n")
  })

  it('lets redis-benchmark run, 64 commands at once', async () => {
    const report = await tool(
      'redis-benchmark',
      '-p',
      String(port),
      '-P',
      '64',
      '-c',
      '20',
      '-n',
      '20000',
      '-r',
      '1000',
      '-q',
      '-t',
      'ping,set,get,incr,lpush,rpop,sadd,hset,mset',
    )
    for (const name of ['SET', 'GET', 'INCR', 'LPUSH', 'RPOP', 'SADD', 'HSET'])
      expect(report).to.match(new RegExp(`${name}: [\\d.]+ requests per second`))
    expect(report).to.not.match(/error/i)
    expect(Number(await cli('DBSIZE'))).to.be.above(1000)
  })

  describe('ioredis', () => {
    let redis: Redis
    before(() => {
      redis = new Redis({ port, lazyConnect: true })
      return redis.connect()
    })
    after(() => redis.quit())

    it('reads what it has written, over several shards', async () => {
      const keys = Array.from({ length: 50 }, (_, i) => `k${i}`)
      expect(await redis.mset(Object.fromEntries(keys.map((key, i) => [key, `v${i}`])))).to.equal('OK')
      expect(await redis.mget(...keys, 'none')).to.deep.equal([...keys.map((_, i) => `v${i}`), null])
      expect(await redis.exists(...keys, 'none')).to.equal(50)
      expect(await redis.del('k0', 'k1', 'none')).to.equal(2)
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
      await redis.set('binary', bytes)
      expect(await redis.getBuffer('binary')).to.deep.equal(bytes)
    })

    it('keeps times: EX, PX, NX, XX, KEEPTTL, TTL, PERSIST', async () => {
      expect(await redis.set('k', 'v', 'PX', 100_000)).to.equal('OK')
      expect(await redis.pttl('k')).to.be.within(1, 100_000)
      expect(await redis.set('k', 'v', 'PX', 40)).to.equal('OK')
      expect(await redis.pttl('k')).to.be.at.most(40)
      while ((await redis.get('k')) !== null);
      expect(await redis.ttl('k')).to.equal(-2)
      expect(await redis.set('k', 'a', 'NX')).to.equal('OK')
      expect(await redis.set('k', 'b', 'NX')).to.equal(null)
      expect(await redis.set('none', 'b', 'XX')).to.equal(null)
      expect(await redis.ttl('k')).to.equal(-1)
      await redis.set('k', 'v', 'EX', 100)
      await redis.set('k', 'w', 'KEEPTTL')
      expect(await redis.ttl('k')).to.be.within(1, 100)
      expect(await redis.persist('k')).to.equal(1)
      expect(await redis.ttl('k')).to.equal(-1)
      // Expired keys that are not read go, too.
      const many = Array.from({ length: 30 }, (_, i) => `gone${i}`)
      await Promise.all(many.map((key) => redis.set(key, 'v', 'PX', 1)))
      while ((await redis.dbsize()) !== 1);
    })

    it('pipelines, and sees each result at its place', async () => {
      const pipeline = redis.pipeline()
      for (let i = 0; i < 500; i++) pipeline.set(`p${i}`, i).get(`p${i}`)
      const results = (await pipeline.exec())!
      expect(results.filter(([error]) => error)).to.deep.equal([])
      expect(results.map(([, value]) => value)).to.deep.equal(Array.from({ length: 500 }, (_, i) => ['OK', String(i)]).flat())
    })

    it('runs transactions', async () => {
      expect(await redis.multi().set('{t}1', 1).incr('{t}1').exec()).to.deep.equal([
        [null, 'OK'],
        [null, 2],
      ])
    })
  })

  describe('node-redis', () => {
    for (const RESP of [2, 3] as const) {
      it(`reads, writes, publishes and subscribes in RESP${RESP}`, async () => {
        const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP })
        const subscriber = createClient({ url: `redis://127.0.0.1:${port}`, RESP })
        await Promise.all([client.connect(), subscriber.connect()])
        await client.set('k', 'v', { expiration: { type: 'EX', value: 10 } })
        expect(await client.get('k')).to.equal('v')
        await client.hSet('h', { a: '1', b: '2' })
        expect({ ...(await client.hGetAll('h')) }).to.deep.equal({ a: '1', b: '2' })
        const got: string[] = []
        let wake = () => {}
        await subscriber.subscribe('news', (message) => {
          got.push(message)
          wake()
        })
        for (let i = 0; i < 20; i++) expect(await client.publish('news', `n${i}`)).to.equal(1)
        while (got.length < 20) await new Promise<void>((resolve) => (wake = resolve))
        expect(got).to.deep.equal(Array.from({ length: 20 }, (_, i) => `n${i}`))
        await subscriber.unsubscribe('news')
        expect(await client.publish('news', 'nobody')).to.equal(0)
        await Promise.all([client.close(), subscriber.close()])
      })
    }

    it('in RESP2 and in RESP3 hear each other', async () => {
      const [two, three] = ([2, 3] as const).map((RESP) => createClient({ url: `redis://127.0.0.1:${port}`, RESP }))
      const publisher = new Redis(port)
      await Promise.all([two!.connect(), three!.connect()])
      const heard = [two!, three!].map((client) => new Promise((resolve) => void client.subscribe('c', resolve)))
      while ((await publisher.publish('c', 'hello')) !== 2);
      expect(await Promise.all(heard)).to.deep.equal(['hello', 'hello'])
      await Promise.all([two!.close(), three!.close()])
      await publisher.quit()
    })
  })
})
