import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import fc from 'fast-check'
import { WebSocketServer } from 'ws'
import { exchange, HttpServer } from '../support/http.js'
import { closeFrame, handshake } from '../support/websocket.js'

interface Parameter {
  name: string
  value: string | undefined
  quoted: boolean
}
interface Offer {
  name: string
  parameters: Parameter[]
}

const bits = /^([89]|1[0-5])$/
const known: Record<string, (value: string | undefined) => boolean> = {
  server_no_context_takeover: (value) => value === undefined,
  client_no_context_takeover: (value) => value === undefined,
  server_max_window_bits: (value) => value !== undefined && bits.test(value),
  client_max_window_bits: (value) => value === undefined || bits.test(value),
}

/** RFC 7692, section 7.1: whether an offer may be taken. */
function isGood({ name, parameters }: Offer): boolean {
  const names = parameters.map((each) => each.name)
  return (
    name === 'permessage-deflate' &&
    new Set(names).size === names.length &&
    parameters.every((each) => Object.hasOwn(known, each.name) && known[each.name]!(each.value))
  )
}

const value = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 8, max: 15 }).map(String) },
  { weight: 1, arbitrary: fc.constantFrom('7', '16', '08', '1', '100', 'x', '-9', '9.0', '0') },
)
const parameter: fc.Arbitrary<Parameter> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      name: fc.constantFrom('server_no_context_takeover', 'client_no_context_takeover'),
      value: fc.constant(undefined),
      quoted: fc.constant(false),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      name: fc.constantFrom('server_max_window_bits', 'client_max_window_bits'),
      value,
      quoted: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      name: fc.constantFrom(...Object.keys(known), 'unknown', 'toString', '__proto__', 'Server_max_window_bits'),
      value: fc.option(value, { nil: undefined }),
      quoted: fc.boolean(),
    }),
  },
)
const offer: fc.Arbitrary<Offer> = fc.record({
  name: fc.oneof(
    { weight: 8, arbitrary: fc.constant('permessage-deflate') },
    { weight: 1, arbitrary: fc.constantFrom('x', 'constructor') },
  ),
  parameters: fc.array(parameter, { maxLength: 3 }),
})
const spaces = fc.array(fc.constantFrom('', ' ', '\t', '  '), { minLength: 6, maxLength: 6 })

function written(offers: Offer[], [a, b, c, d, e, f]: string[]): string {
  const quote = (text: string): string => `"${[...text].map((each, i) => (i % 2 === 0 ? each : `\\${each}`)).join('')}"`
  const one = ({ name, parameters }: Offer): string =>
    name +
    parameters
      .map((each) => {
        const said = each.value === undefined ? '' : `${c}=${d}${each.quoted ? quote(each.value) : each.value}`
        return `${a};${b}${each.name}${said}`
      })
      .join('')
  return offers.map(one).join(`${e},${f}`)
}

describe('offers of permessage-deflate', () => {
  const field = 'Sec-WebSocket-Extensions'
  let server: HttpServer
  let other: WebSocketServer
  before(async () => {
    server = await HttpServer.start({ websocket: { deflate: true, message() {} } })
    const perMessageDeflate = { serverNoContextTakeover: true, clientNoContextTakeover: true }
    other = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate })
    await once(other, 'listening')
  })
  after(async () => {
    await server.close()
    expect(server.errors).to.deep.equal([])
    other.close()
    await once(other, 'close')
  })

  async function answerOf(port: number, offered: string): Promise<{ status: number; agreed: string[] | undefined }> {
    const text = await exchange(port, [handshake({ [field]: offered, Connection: 'Upgrade, close' }), closeFrame(1000)])
    const agreed = /sec-websocket-extensions: (.*)\r/i.exec(text)?.[1]
    return { status: Number(text.slice(9, 12)), agreed: agreed?.split(/; ?/).sort() }
  }

  it('are taken as RFC 7692 says, and as ws takes those that are in order', () =>
    fc.assert(
      fc.asyncProperty(fc.array(offer, { minLength: 1, maxLength: 3 }), spaces, async (offers, spaces) => {
        const text = written(offers, spaces)
        const taken = offers.find(isGood)
        const ours = await answerOf(server.port, text)
        expect(ours.status, text).to.equal(101)
        const asked = taken?.parameters.find((each) => each.name === 'server_max_window_bits')?.value
        const wanted = ['client_no_context_takeover', 'permessage-deflate', 'server_no_context_takeover']
        if (asked !== undefined) wanted.push(`server_max_window_bits=${asked}`)
        expect(ours.agreed, text).to.deep.equal(taken && wanted.sort())
        // ws answers with 400 where one of the offers is not in order, and knows no spaces around the equals sign.
        if (!offers.every((each) => isGood(each)) || `${spaces[2]}${spaces[3]}` !== '') return
        const theirs = await answerOf((other.address() as AddressInfo).port, text)
        // It repeats the client's own window size.
        expect(
          theirs.agreed?.filter((each) => !each.startsWith('client_max_window_bits')),
          text,
        ).to.deep.equal(ours.agreed)
      }),
      { numRuns: 300 },
    ))

  it('of any form are answered with 101 or 400, and never with an error', () => {
    const pieces = fc.constantFrom(
      'permessage-deflate',
      ';',
      ',',
      '=',
      '"',
      '\\',
      ' ',
      '\t',
      'server_max_window_bits',
      '10',
      'é',
      '(',
      'a',
    )
    return fc.assert(
      fc.asyncProperty(fc.array(pieces, { maxLength: 12 }), async (parts) => {
        const { status, agreed } = await answerOf(server.port, parts.join(''))
        expect(status).to.be.oneOf([101, 400])
        if (agreed) expect(status).to.equal(101)
      }),
      { numRuns: 300 },
    )
  })
})
