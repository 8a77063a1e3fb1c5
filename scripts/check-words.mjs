// Counts the lines of comments and of documentation that a reader has to translate, because a clause with "what", "who" or "nobody" stands
// where a noun would name the thing. Fails above a ceiling; `--list` prints every such line, `--list FOLDER` those below a folder.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow, root, StepFailed, whenMain } from './lib.mjs'

/** The largest share of all lines: of those with a sentence or a clause that begins so, and of those that contain such a word. */
export const ceilings = { comments: { begins: 0.01, carries: 0.04 }, prose: { begins: 0.04, carries: 0.08 } }

const words = '(?:what|whatever|who|whoever|whom|nobody|somebody|anybody|everybody)'
const begins = new RegExp(`(?:^|[.:;!?|] |\\*\\*)["'(*\`]*${words}\\b`, 'i')
const carries = new RegExp(`\\b${words}\\b`, 'i')

const folders = ['addon', 'bench', 'examples', 'packages', 'scripts', 'test']
const isSource = (path) => /\.(?:ts|mjs|cjs|js|cc|h|py|sh)$/.test(path) && !/(?:^|\/)build-test\//.test(path)

/** The text of a comment on a line, or undefined. A block is made of lines that begin with a star, as the formatters leave it. */
function commentOn(line) {
  return (/^\s*(?:\/\/+|\/\*\*?|\*|#(?![!a-zA-Z]))\s*(.*?)(?:\s*\*\/)?$/.exec(line) ?? /\s\/\/ (.*)$/.exec(line))?.[1]
}

/** The lines of a page that are prose or a table: neither code nor HTML. */
function* proseOf(page) {
  let isCode = false
  for (const [index, line] of page.split('\n').entries()) {
    if (line.startsWith('```')) isCode = !isCode
    else if (!isCode && !line.startsWith('<')) yield [index + 1, line.replace(/`[^`]*`/g, '``').replace(/^[#>*\-|\s]+/, '')]
  }
}

function* commentsOf(source) {
  for (const [index, line] of source.split('\n').entries()) {
    const text = commentOn(line)
    if (text !== undefined) yield [index + 1, text]
  }
}

/** Counts lines, and keeps those that count as `{ at, text, begins }`. */
export function countIn(lines, path = '') {
  const found = { lines: 0, begins: 0, carries: 0, hits: [] }
  for (const [number, text] of lines) {
    if (text.trim().length < 3) continue
    found.lines++
    if (!carries.test(text)) continue
    found.carries++
    const isBegun = begins.test(text)
    if (isBegun) found.begins++
    found.hits.push({ at: `${path}:${number}`, text, begins: isBegun })
  }
  return found
}

export const countComments = (source, path) => countIn(commentsOf(source), path)
export const countProse = (page, path) => countIn(proseOf(page), path)

function sum(counts) {
  const total = { lines: 0, begins: 0, carries: 0, hits: [] }
  for (const one of counts) {
    for (const key of ['lines', 'begins', 'carries']) total[key] += one[key]
    total.hits.push(...one.hits)
  }
  return total
}

/** Both kinds over the repository. docs/api is generated from docstrings, and a changelog quotes names of earlier versions. */
export function countWords() {
  const read = (path) => readFileSync(join(root, path), 'utf8')
  const sources = folders.flatMap((folder) => filesBelow(folder, isSource))
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    ...['docs', ...folders].flatMap((folder) => filesBelow(folder, (path) => path.endsWith('.md'))),
  ]
  return {
    comments: sum(sources.map((path) => countComments(read(path), path))),
    prose: sum(
      pages.filter((path) => !path.startsWith('packages/multireactor/docs/')).map((path) => countProse(read(path), path)),
    ),
  }
}

/** One sentence for each ceiling that is exceeded. */
export function tooMany(counts, most = ceilings) {
  return Object.entries(most).flatMap(([kind, shares]) =>
    Object.entries(shares)
      .filter(([key, share]) => counts[kind][key] > share * counts[kind].lines)
      .map(
        ([key, share]) => `${kind}: ${counts[kind][key]} of ${counts[kind].lines} lines (${key}) are more than ${100 * share} %`,
      ),
  )
}

await whenMain(import.meta.url, () => {
  const counts = countWords()
  const list = process.argv.indexOf('--list')
  for (const [kind, { lines, hits, ...count }] of Object.entries(counts)) {
    if (list > 0)
      for (const hit of hits)
        if (hit.at.startsWith(process.argv[list + 1] ?? '')) console.log(`${hit.at}: ${hit.begins ? '! ' : ''}${hit.text}`)
    const share = (key) => `${count[key]} (${((100 * count[key]) / lines).toFixed(1)} %)`
    console.log(`${kind}: ${lines} lines; ${share('begins')} have a clause that begins so, ${share('carries')} carry such a word`)
  }
  const failures = tooMany(counts)
  if (failures.length > 0) throw new StepFailed(`${failures.join('\n')}\nnode scripts/check-words.mjs --list names the lines.`)
})
