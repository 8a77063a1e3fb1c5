import { readLatin1 } from '@multireactor/addon'

const code = String.fromCharCode

/**
 * The bytes from `i` to `end` as one character each. Up to 24 of them without leaving compiled code, and in one piece: text that is
 * put together from parts is a tree from 13 characters on, which costs more to look up in a `Map` than all of the rest.
 */
export function shortText(s: Buffer, i: number, end: number): string {
  switch (end - i) {
    case 0:
      return ''
    case 1:
      return code(s[i]!)
    case 2:
      return code(s[i]!, s[i + 1]!)
    case 3:
      return code(s[i]!, s[i + 1]!, s[i + 2]!)
    case 4:
      return code(s[i]!, s[i + 1]!, s[i + 2]!, s[i + 3]!)
    case 5:
      return code(s[i]!, s[i + 1]!, s[i + 2]!, s[i + 3]!, s[i + 4]!)
    case 6:
      return code(s[i]!, s[i + 1]!, s[i + 2]!, s[i + 3]!, s[i + 4]!, s[i + 5]!)
    case 7:
      return code(s[i]!, s[i + 1]!, s[i + 2]!, s[i + 3]!, s[i + 4]!, s[i + 5]!, s[i + 6]!)
    case 8:
      return code(s[i]!, s[i + 1]!, s[i + 2]!, s[i + 3]!, s[i + 4]!, s[i + 5]!, s[i + 6]!, s[i + 7]!)
    case 9:
      return code(s[i]!, s[i + 1]!, s[i + 2]!, s[i + 3]!, s[i + 4]!, s[i + 5]!, s[i + 6]!, s[i + 7]!, s[i + 8]!)
    case 10:
      return code(s[i]!, s[i + 1]!, s[i + 2]!, s[i + 3]!, s[i + 4]!, s[i + 5]!, s[i + 6]!, s[i + 7]!, s[i + 8]!, s[i + 9]!)
    case 11:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
      )
    case 12:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
      )
    case 13:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
      )
    case 14:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
      )
    case 15:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
      )
    case 16:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
      )
    case 17:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
        s[i + 16]!,
      )
    case 18:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
        s[i + 16]!,
        s[i + 17]!,
      )
    case 19:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
        s[i + 16]!,
        s[i + 17]!,
        s[i + 18]!,
      )
    case 20:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
        s[i + 16]!,
        s[i + 17]!,
        s[i + 18]!,
        s[i + 19]!,
      )
    case 21:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
        s[i + 16]!,
        s[i + 17]!,
        s[i + 18]!,
        s[i + 19]!,
        s[i + 20]!,
      )
    case 22:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
        s[i + 16]!,
        s[i + 17]!,
        s[i + 18]!,
        s[i + 19]!,
        s[i + 20]!,
        s[i + 21]!,
      )
    case 23:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
        s[i + 16]!,
        s[i + 17]!,
        s[i + 18]!,
        s[i + 19]!,
        s[i + 20]!,
        s[i + 21]!,
        s[i + 22]!,
      )
    case 24:
      return code(
        s[i]!,
        s[i + 1]!,
        s[i + 2]!,
        s[i + 3]!,
        s[i + 4]!,
        s[i + 5]!,
        s[i + 6]!,
        s[i + 7]!,
        s[i + 8]!,
        s[i + 9]!,
        s[i + 10]!,
        s[i + 11]!,
        s[i + 12]!,
        s[i + 13]!,
        s[i + 14]!,
        s[i + 15]!,
        s[i + 16]!,
        s[i + 17]!,
        s[i + 18]!,
        s[i + 19]!,
        s[i + 20]!,
        s[i + 21]!,
        s[i + 22]!,
        s[i + 23]!,
      )
    default:
      return readLatin1(s, i, end)
  }
}
