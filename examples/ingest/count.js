// npm run count: how many readings there are, by name.
import { openDatabase } from './database.js'

const database = openDatabase(process.env.DB ?? 'ingest.db', 1_000)
const rows = /** @type {{ name: string, count: number }[]} */ (
  database.prepare('select name, count(*) as count from readings group by name order by name').all()
)
for (const { name, count } of rows) console.log(`${name} ${count}`)
database.close()
