import { readMqttConnect } from '@multireactor/codecs'
import { expect } from 'chai'
import fc from 'fast-check'
import { connect, packet } from '../support/mqtt.js'

describe('the CONNECT packet of MQTT', () => {
  it('says who connects, in 3.1, 3.1.1 and 5', () => {
    const will = { topic: 'a topic', payload: 'a payload' }
    for (const level of [3, 4, 5]) {
      for (const clean of [true, false]) {
        expect(
          readMqttConnect(connect('däe id', { level, clean, user: 'u', token: 't', ...(level === 5 ? {} : { will }) })),
        ).to.deep.equal({
          protocol: 'MQTT',
          level,
          clean,
          keepAliveSeconds: 0,
          clientId: 'däe id',
        })
      }
    }
    const old = packet(0x10, 'MQIsdp', Uint8Array.of(3, 2, 1, 44), 'x'.repeat(300))
    expect(readMqttConnect(old)).to.deep.equal({
      protocol: 'MQIsdp',
      level: 3,
      clean: true,
      keepAliveSeconds: 300,
      clientId: 'x'.repeat(300),
    })
    // MQTT 5 has properties before the client id: here a receive maximum.
    const withProperties = packet(0x10, 'MQTT', Uint8Array.of(5, 2, 0, 60, 3, 0x21, 0, 10), 'five')
    expect(readMqttConnect(withProperties)).to.include({ level: 5, clientId: 'five', keepAliveSeconds: 60 })
    expect(readMqttConnect(connect(''))).to.include({ clientId: '' })
    expect(readMqttConnect(connect('x'.repeat(0xffff)))!.clientId.length).to.equal(0xffff)
  })

  it('is not what ends early, is another packet, or has strings that are not text', () => {
    const whole = connect('an id')
    for (let length = 0; length < whole.length; length++) expect(readMqttConnect(whole.subarray(0, length))).to.equal(undefined)
    expect(readMqttConnect(packet(0x30, 'topic'))).to.equal(undefined)
    expect(readMqttConnect(connect('nul \0'))).to.equal(undefined)
    expect(readMqttConnect(packet(0x10, 'MQTT', Uint8Array.of(4, 2, 0, 0, 0, 2, 0xc3, 0x28)))).to.equal(undefined)
    expect(readMqttConnect(packet(0x10, 'MQTT', Uint8Array.of(5, 2, 0, 0, 0xff, 0xff, 0xff, 0xff, 1), 'id'))).to.equal(undefined)
  })

  it('is read of any bytes without a throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        readMqttConnect(Uint8Array.of(0x10, ...bytes))
        readMqttConnect(Uint8Array.of(0x10, bytes.length, 0, 4, 0x4d, 0x51, 0x54, 0x54, ...bytes))
      }),
    )
  })
})
