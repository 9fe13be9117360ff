// A throw-away PostgreSQL cluster with the durability settings it ships with, on 127.0.0.1.
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { freePort, run } from './common.mjs';

function programs() {
  const home = '/usr/lib/postgresql';
  const versions = existsSync(home) ? readdirSync(home).sort((a, b) => Number(b) - Number(a)) : [];
  const bin = versions.map((version) => join(home, version, 'bin')).find((folder) => existsSync(join(folder, 'initdb')));
  if (!bin) throw new Error('PostgreSQL is missing: apt install postgresql');
  return bin;
}

export async function postgres() {
  const bin = programs();
  const folder = mkdtempSync(join(tmpdir(), 'compute-futures-pg-'));
  const root = process.getuid() === 0;
  if (root) {
    const id = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
    chownSync(folder, id('-u'), id('-g'));
  }
  // PostgreSQL refuses to run as root.
  const as = (program, ...args) =>
    root ? run('runuser', ['-u', 'postgres', '--', join(bin, program), ...args], { quiet: true, cwd: '/' }) : run(join(bin, program), args, { quiet: true });
  const data = join(folder, 'data');
  const port = await freePort();
  as('initdb', '-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync');
  as('pg_ctl', '-D', data, '-w', '-l', join(folder, 'log'), '-o', `-k ${folder} -c listen_addresses=127.0.0.1 -p ${port}`, 'start');
  let databases = 0;
  return {
    fresh() {
      const name = `bench${++databases}`;
      as('createdb', '-h', '127.0.0.1', '-p', `${port}`, '-U', 'postgres', name);
      return `postgres://postgres@127.0.0.1:${port}/${name}`;
    },
    stop() {
      as('pg_ctl', '-D', data, '-m', 'immediate', 'stop');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
