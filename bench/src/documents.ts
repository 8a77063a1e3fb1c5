import { type Random, randomFrom } from './random.js'

const smallestDocumentBytes = 2_048
const largestDocumentBytes = 7_168

// Texts as the world writes them: one, two, three and four bytes a character, and characters that JSON must escape.
const phrases = [
  'the quick brown fox jumps over the lazy dog',
  'Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich',
  'Съешь ещё этих мягких французских булок, да выпей чаю',
  'いろはにほへと ちりぬるを わかよたれそ つねならむ',
  '视野无限广，窗外有蓝天',
  '다람쥐 헌 쳇바퀴에 타고파',
  'نص حكيم له سر قاطع وذو شأن عظيم',
  'ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण',
  'ship it 🚀✨ today? 👩‍🚀🌍',
  'she said "tabs\tand\nnewlines" \\o/',
]

const goods = [
  'kettle, 1.7 l',
  'cast iron pan',
  'paper, A4, 500 sheets',
  'bolt M8 x 40',
  'desk lamp',
  'coffee beans 1 kg',
  'hose',
]

/** Newline-terminated orders, each of that many bytes with its newline: the small message of a busy protocol. */
export function orders(count: number, bytes: number): string[] {
  const random = randomFrom(1)
  return Array.from({ length: count }, (_, id) => {
    const order = { id, price: random.below(100_000) / 4, count: 1 + random.below(99), pad: '' }
    return padded(order, bytes)
  })
}

/** Newline-terminated orders of many positions, each of that many bytes with its newline: plain text and numbers. */
export function largeOrders(count: number, bytes: number): string[] {
  const random = randomFrom(3)
  return Array.from({ length: count }, (_, id) => {
    const order = { id, customer: author(random), positions: [] as object[], pad: '' }
    let length = Buffer.byteLength(JSON.stringify(order)) + 1
    for (;;) {
      const next = position(random)
      length += JSON.stringify(next).length + 1
      if (length > bytes) return padded(order, bytes)
      order.positions.push(next)
    }
  })
}

function position(random: Random): object {
  return {
    sku: `A-${random.below(1e6)}`,
    title: `${random.pick(goods)}, ${random.pick(goods)}`,
    price: random.below(100_000) / 4,
    count: 1 + random.below(99),
    stocked: random.below(2) === 1,
    tags: [random.pick(goods), random.pick(goods)],
    warehouse: { aisle: random.below(40), shelf: random.below(12), note: null },
  }
}

function padded(order: { pad: string }, bytes: number): string {
  order.pad = 'x'.repeat(bytes - 1 - Buffer.byteLength(JSON.stringify(order)))
  return `${JSON.stringify(order)}\n`
}

/** Newline-terminated documents of 2 to 7 KB: nested, with the mix of numbers, flags, links and text of a public web API. */
export function documents(count: number): string[] {
  const random = randomFrom(2)
  return Array.from({ length: count }, (_, id) => {
    const bytes = smallestDocumentBytes + random.below(largestDocumentBytes - smallestDocumentBytes)
    return `${JSON.stringify(documentOf(id, bytes, random))}\n`
  })
}

function documentOf(id: number, bytes: number, random: Random): object {
  const document = { id, id_str: String(505_874_924_095_815_700n + BigInt(id)), author: author(random), replies: [] as object[] }
  let length = Buffer.byteLength(JSON.stringify(document))
  for (;;) {
    const next = reply(random)
    length += Buffer.byteLength(JSON.stringify(next)) + 1
    if (length > bytes && document.replies.length > 0) return document
    document.replies.push(next)
  }
}

function author(random: Random): object {
  return {
    id: random.below(2 ** 31),
    name: random.pick(phrases).slice(0, 12),
    description: random.pick(phrases),
    url: `https://example.com/users/${random.below(1e6)}`,
    followers: random.below(1e6),
    verified: random.below(2) === 1,
    location: null,
  }
}

function reply(random: Random): object {
  return {
    id: random.below(2 ** 31),
    created_at: 'Sun Aug 31 00:29:15 +0000 2014',
    text: `${random.pick(phrases)} ${random.pick(phrases)}`,
    truncated: random.below(2) === 1,
    score: random.below(1e6) / 1e3,
    in_reply_to: random.below(2) === 1 ? random.below(2 ** 31) : null,
    tags: [random.pick(phrases).slice(0, 6), random.pick(phrases).slice(0, 9)],
    position: {
      indices: [random.below(100), random.below(100)],
      coordinates: [random.below(1e9) / 1e7, random.below(1e9) / 1e7],
    },
  }
}
