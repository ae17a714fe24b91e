// Which of a key's models is nearest to the end of its budget.
import type { KeyRow, Lane } from './shapes';

const least = (...given: (number | null | undefined)[]): number | null => {
  const set = given.filter((one): one is number => typeof one === 'number' && one > 0);
  return set.length ? Math.min(...set) : null;
};

export const dayOf = (row: KeyRow, lane: Lane | null): number | null => least(lane?.rpd, row.rpd);
export const minuteOf = (row: KeyRow, lane: Lane | null): number | null => least(lane?.paced_rpm, lane?.rpm, row.rpm);

function fullest(row: KeyRow, used: (lane: Lane) => number, of: (row: KeyRow, lane: Lane) => number | null): Lane | null {
  let best: Lane | null = null;
  let most = -1;
  for (const lane of row.learnt) {
    const limit = of(row, lane);
    const share = limit ? used(lane) / limit : used(lane) * 1e-9;
    if (share > most) [best, most] = [lane, share];
  }
  return best;
}

export const dayLane = (row: KeyRow): Lane | null => fullest(row, (lane) => lane.day_requests, dayOf);
export const minuteLane = (row: KeyRow): Lane | null => fullest(row, (lane) => lane.minute_requests, minuteOf);
