import { once } from 'node:events'
import { expect } from 'chai'
import { type Browser, chromium, type Page } from 'playwright-core'
import { WebSocket } from 'ws'
import { Example } from '../support/example.js'

interface Said {
  type: string
  name?: string
  text?: string
  room?: string
  reactor?: number
}

/** A member without a browser, which remembers its messages. */
class Member {
  readonly heard: Said[] = []
  readonly socket: WebSocket
  readonly closed: Promise<unknown[]>

  private constructor(port: number, room: string, name: string) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/chat?room=${room}&name=${name}`)
    this.socket.on('message', (data: Buffer) => this.heard.push(JSON.parse(data.toString()) as Said))
    this.closed = once(this.socket, 'close')
  }
  static async join(port: number, room: string, name: string): Promise<Member> {
    const member = new Member(port, room, name)
    await member.until(({ type, name: who }) => type === 'joined' && who === name)
    return member
  }
  async until(matches: (said: Said) => boolean): Promise<Said> {
    for (let at = 0; ; at++) {
      while (this.heard.length === at) await once(this.socket, 'message')
      if (matches(this.heard[at]!)) return this.heard[at]!
    }
  }
  get reactor(): number {
    return this.heard.find(({ type }) => type === 'welcome')!.reactor!
  }
}

async function browser(): Promise<Browser> {
  try {
    // Chromium has no sandbox as root; the only page is our own.
    return await chromium.launch({
      executablePath: '/usr/bin/chromium',
      chromiumSandbox: false,
      args: ['--disable-dev-shm-usage'],
    })
  } catch (error) {
    if (!/executable doesn't exist|ENOENT/i.test(String(error))) throw error
    throw new Error('there is no chromium on this machine: run scripts/setup-tools.sh', { cause: error })
  }
}

describe('the example chat', function () {
  // A browser starts slowly where others need the cores.
  this.timeout(120_000)
  const members: Member[] = []
  afterEach(async () => {
    for (const { socket } of members.splice(0)) socket.terminate()
    await Example.killAll()
  })

  async function started(): Promise<{ example: Example; port: number }> {
    const example = new Example('chat')
    const [port] = await example.ports()
    return { example, port: port! }
  }
  async function join(port: number, room: string, name: string): Promise<Member> {
    const member = await Member.join(port, room, name)
    members.push(member)
    return member
  }
  /** One that is not on that reactor. */
  async function joinElsewhere(port: number, reactor: number, room: string, name: string): Promise<Member> {
    for (;;) {
      const member = await join(port, room, name)
      if (member.reactor !== reactor) return member
      member.socket.close()
    }
  }

  it('tells a room, on all reactors, who comes, what is said and who goes, and tells no other room', async () => {
    const { example, port } = await started()
    const ann = await join(port, 'lobby', 'ann')
    const bob = await joinElsewhere(port, ann.reactor, 'lobby', 'bob')
    const eve = await join(port, 'other', 'eve')
    await ann.until(({ type, name }) => type === 'joined' && name === 'bob')
    bob.socket.send('  hello <b>  ')
    bob.socket.send('   ')
    const said = await ann.until(({ type }) => type === 'message')
    expect(said).to.deep.equal({ type: 'message', name: 'bob', text: 'hello <b>' })
    bob.socket.close(1000)
    await ann.until(({ type, name }) => type === 'left' && name === 'bob')
    expect(eve.heard.map(({ type }) => type)).to.deep.equal(['welcome', 'joined'])
    expect(await example.stop()).to.equal(0)
    expect((await ann.closed)[0]).to.equal(1001)
    expect(example.errors).to.equal('')
  })

  it('lets nobody in from another page, without a name, or by another path', async () => {
    const { port } = await started()
    const refused = async (path: string, origin?: string): Promise<string> => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, origin === undefined ? {} : { origin })
      return String(((await once(socket, 'error')) as [Error])[0].message)
    }
    const good = '/chat?room=lobby&name=ann'
    expect(await refused(good, 'https://evil.example')).to.include('403')
    for (const path of ['/chat', '/chat?room=lobby', '/chat?room=Lobby%20&name=a', `/chat?room=a&name=${'n'.repeat(31)}`]) {
      expect(await refused(path)).to.include('400')
    }
    expect(await refused('/elsewhere')).to.include('404')
    const socket = new WebSocket(`ws://127.0.0.1:${port}${good}`, { origin: `http://127.0.0.1:${port}` })
    await once(socket, 'open')
    socket.terminate()
  })

  it('closes on whoever sends too much, too fast or no text', async () => {
    const { port } = await started()
    const closes = async (send: (socket: WebSocket) => void): Promise<unknown> => {
      const member = await join(port, 'lobby', 'x')
      send(member.socket)
      return (await member.closed)[0]
    }
    expect(await closes((socket) => socket.send('x'.repeat(2_001)))).to.equal(1009)
    expect(await closes((socket) => socket.send('x'.repeat(20_000)))).to.equal(1009)
    expect(await closes((socket) => socket.send(Buffer.from('x')))).to.equal(1003)
    expect(await closes((socket) => Array.from({ length: 100 }, (_, i) => socket.send(`${i}`)))).to.equal(1008)
  })

  it('lets nobody leave when its code is loaded anew', async () => {
    const { example, port } = await started()
    const ann = await join(port, 'lobby', 'ann')
    example.signal('SIGHUP')
    await example.until((output) => output.includes('reloaded'))
    ann.socket.send('still here')
    expect((await ann.until(({ type }) => type === 'message')).text).to.equal('still here')
  })

  it('shows two pages of a browser, on two reactors, what each of them says', async () => {
    const { example, port } = await started()
    const chrome = await browser()
    const errors: unknown[] = []
    try {
      const join = async (page: Page, name: string): Promise<string> => {
        await page.fill('#name', name)
        await page.fill('#room', 'browsers')
        await page.click('#join button')
        // Not by a function in the page, which its policy for content would not let run.
        await page.locator('#where', { hasText: /^in browsers/ }).waitFor()
        return (await page.textContent('#where'))!
      }
      const open = async (): Promise<Page> => {
        const page = await (await chrome.newContext()).newPage()
        page.on('pageerror', (error) => errors.push(error))
        await page.goto(`http://127.0.0.1:${port}/`)
        return page
      }
      const sees = (page: Page, text: string): Promise<void> => page.locator('#messages li', { hasText: text }).first().waitFor()
      const ann = await open()
      const bob = await open()
      const where = await join(ann, 'ann')
      expect(where).to.match(/^in browsers, on reactor [01]$/)
      // Each attempt is another connection, and the kernel gives it to a reactor.
      while ((await join(bob, 'bob')) === where);
      await sees(ann, 'bob is here')
      await ann.fill('#text', 'hello <i>bob</i>')
      await ann.click('#say button')
      await sees(bob, 'ann: hello <i>bob</i>')
      await bob.fill('#text', 'grüß dich 👋')
      await bob.press('#text', 'Enter')
      await sees(ann, 'bob: grüß dich 👋')
      await bob.close()
      await sees(ann, 'bob has left')
    } finally {
      await chrome.close()
    }
    expect(errors).to.deep.equal([])
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')
  })
})
