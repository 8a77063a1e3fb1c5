import assert from 'node:assert/strict'
import { test } from 'node:test'
import { glob, type Text } from './glob.ts'

const fits = (pattern: string, text: string) => glob(pattern)!(text)

test('patterns mean what they mean for redis-server', () => {
  for (const [pattern, right, wrong] of [
    ['', [''], ['a']],
    ['abc', ['abc'], ['ab', 'abcd', 'Abc']],
    ['*', ['', 'a', '\n'], []],
    ['a**c', ['ac', 'abc'], ['a', 'c']],
    ['*a*b*', ['ab', 'xaxbx', 'aab'], ['ba', 'a', 'b']],
    ['a?c', ['abc', 'a?c'], ['ac', 'abbc']],
    ['[abc]x', ['ax', 'cx'], ['dx', 'x']],
    ['[a-c]', ['a', 'b', 'c'], ['d', '-']],
    ['[z-a]', ['a', 'm', 'z'], ['A']],
    ['[^a-c]', ['d', '^'], ['a', 'c', '']],
    ['[^]', ['a', ']'], ['']],
    ['[]', [], ['', ']', '[]']],
    ['[ab', ['a', 'b'], ['[ab', 'c']],
    ['[a-', ['a', '-'], ['b']],
    ['[\\]]', [']'], ['\\']],
    ['[\\a-c]', ['a', '-', 'c'], ['b', '\\']],
    ['\\*', ['*'], ['a', '\\*']],
    ['\\[a]', ['[a]'], ['a']],
    ['a\\', ['a\\'], ['a']],
    ['h[^e]llo*', ['hallo', 'hbllo!'], ['hello']],
    ['*[0-9]?', ['a1b', '99'], ['1', 'ab']],
  ] as [string, string[], string[]][]) {
    for (const text of right) assert.equal(fits(pattern, text), true, `${pattern} fits ${text}`)
    for (const text of wrong) assert.equal(fits(pattern, text), false, `${pattern} does not fit ${text}`)
  }
})

test('a match takes at most as many steps as the pattern is long, times the text', () => {
  const stepsOf = (pattern: string, length: number): number => {
    let steps = 0
    const text: Text = {
      length,
      charCodeAt() {
        steps++
        return 0x61
      },
    }
    assert.equal(glob(pattern)!(text), false)
    return steps
  }
  for (const part of ['a*', '*a', '*?', '*[a-z]', 'a*a?']) {
    for (const count of [10, 20, 40, 80]) {
      const pattern = `${part.repeat(count)}b`
      for (const length of [100, 1000]) {
        const steps = stepsOf(pattern, length)
        assert.ok(steps <= pattern.length * length, `${part} ${count} times, text of ${length}: ${steps} steps`)
      }
    }
  }
})

test('a pattern has a limit', () => {
  assert.equal(glob('a'.repeat((64 << 10) + 1)), undefined)
  assert.equal(glob('*'.repeat(64 << 10))!('x'), true)
})
