// Lives of escrows: each step a verb with what it changes or why it is refused. One provider, one meter that signs whatever it is asked
// to; three agents of which the first is on the list. Written from docs/adr/014-marketplace.md, in plain numbers.
const START = 1_800_000_000;
const HOUR = 3_600;
const DAY = 24 * HOUR;
const USD = 1_000_000;
const ALL = 2 ** 56; // more than there is: in JSON as 2^56 - 1
const LIMIT = 10 * USD;
const EXPIRY = START + 20 * DAY;

class Refused extends Error {}
const refuse = (when, error) => { if (when) throw new Refused(error); };

class Escrow {
  constructor({ expiry = EXPIRY, openToAll = false }) {
    Object.assign(this, { expiry, openToAll, now: START, unreserved: 0, reserved: 0, earnings: 0, closed: false, exists: false, sessions: [] });
    this.agents = [true, false, false].map((allowed) => ({ allowed: allowed && !openToAll, nonce: 0 }));
  }

  create({ amount }) { this.#fund(amount); this.exists = true; }
  fund({ amount }) { this.#fund(amount); }
  #fund(amount) {
    refuse(amount === 0, "NothingToFund");
    refuse(this.now > this.expiry, "Expired");
    this.unreserved += amount;
  }
  addAgent({ agent }) { refuse(this.openToAll, "InvalidAgent"); refuse(this.agents[agent].allowed, "AgentUnchanged"); this.agents[agent].allowed = true; }
  removeAgent({ agent }) { refuse(!this.agents[agent].allowed, "AgentUnchanged"); this.agents[agent].allowed = false; }
  open({ agent, amount, deadline }) {
    refuse(!this.openToAll && !this.agents[agent].allowed, "NotAgent");
    refuse(amount === 0 || amount > LIMIT, "InvalidLimit");
    refuse(deadline < this.now || deadline > Math.min(this.expiry, this.now + 30 * DAY), "InvalidDeadline");
    refuse(amount > this.unreserved, "InsufficientUnreserved");
    this.unreserved -= amount;
    this.reserved += amount;
    this.sessions.push({ limit: amount, deadline, state: 1 });
  }
  openSigned(step) {
    refuse(step.nonce !== this.agents[step.agent].nonce, "InvalidAgentSignature");
    this.open(step);
    this.agents[step.agent].nonce += 1;
  }
  close({ session, amount }) {
    const its = this.sessions[session - 1];
    refuse(!its || its.state !== 1, "SessionNotOpen");
    refuse(this.now > its.deadline, "DeadlinePassed");
    const cost = Math.min(amount, its.limit);
    its.state = 2;
    this.reserved -= its.limit;
    this.unreserved += its.limit - cost;
    this.earnings += cost;
    return { uncovered: amount - cost };
  }
  lapse({ session }) {
    const its = this.sessions[session - 1];
    refuse(!its || this.state(session) !== 1, "SessionNotOpen");
    refuse(this.now <= its.deadline, "DeadlineNotPassed");
    its.state = 3;
    this.reserved -= its.limit;
    this.unreserved += its.limit;
  }
  refund({ amount }) {
    const paid = Math.min(amount, this.unreserved);
    refuse(paid === 0, "NothingToRefund");
    this.unreserved -= paid;
    return { paid };
  }
  expire() {
    refuse(this.closed, "EscrowClosed");
    refuse(this.now <= this.expiry, "NotExpired");
    const paid = this.unreserved + this.reserved;
    this.unreserved = this.reserved = 0;
    this.closed = true;
    return { paid };
  }
  /// An emptied escrow ends its sessions without touching each.
  state(session) {
    const state = this.sessions[session - 1]?.state ?? 0;
    return state === 1 && this.closed ? 3 : state;
  }
  withdraw({ amount }) {
    refuse(amount > this.earnings, "InsufficientEarnings");
    this.earnings -= amount;
    return { paid: amount };
  }
  wait({ amount }) { this.now += amount; }
}

const live = (name, options, steps) => {
  const escrow = new Escrow(options);
  return {
    name, expiry: escrow.expiry, openToAll: escrow.openToAll, sessionLimit: LIMIT, start: START,
    steps: steps.map(([action, given = {}]) => {
      const step = { agent: 0, amount: 0, deadline: 0, nonce: 0, session: 0, ...given };
      let [outcome, error] = [{}, ""];
      try {
        outcome = escrow[action](step) ?? {};
      } catch (problem) {
        if (!(problem instanceof Refused)) throw problem;
        error = problem.message;
      }
      const session = step.session || escrow.sessions.length;
      return {
        action, ...step, amount: step.amount === ALL ? 2n ** 56n - 1n : step.amount, error,
        earningsAfter: escrow.earnings, nonceAfter: escrow.agents[step.agent].nonce, paid: outcome.paid ?? 0, reservedAfter: escrow.reserved,
        stateAfter: escrow.state(session), uncovered: outcome.uncovered ?? 0, unreservedAfter: escrow.unreserved,
      };
    }),
  };
};

const inAnHour = START + HOUR;
export const lives = () => [
  live("a hundred dollars, three sessions, all well", {}, [
    ["create", { amount: 100 * USD }], ["open", { amount: 5 * USD, deadline: inAnHour }], ["open", { amount: LIMIT, deadline: inAnHour }], ["open", { amount: 1, deadline: START }],
    ["close", { session: 3, amount: 1 }], ["close", { session: 1, amount: 4_321_000 }], ["close", { session: 2, amount: 0 }], ["withdraw", { amount: 4_321_001 }],
    ["refund", { amount: ALL }], ["wait", { amount: 20 * DAY + 1 }], ["expire"],
  ]),
  live("the limit is the limit", {}, [
    ["create", { amount: 100 * USD }], ["open", { amount: LIMIT + 1, deadline: inAnHour }], ["open", { amount: 0, deadline: inAnHour }], ["open", { amount: 3 * USD, deadline: inAnHour }],
    ["close", { session: 1, amount: 3 * USD + 1 }], ["close", { session: 1, amount: 1 }], ["open", { amount: 3 * USD, deadline: inAnHour }], ["close", { session: 2, amount: 2 ** 48 - 1 }],
  ]),
  live("a budget that runs out, and comes back", {}, [
    ["create", { amount: 12 * USD }], ["open", { amount: LIMIT, deadline: inAnHour }], ["open", { amount: 2 * USD + 1, deadline: inAnHour }], ["open", { amount: 2 * USD, deadline: inAnHour }],
    ["refund", { amount: ALL }], ["open", { amount: 1, deadline: inAnHour }], ["close", { session: 1, amount: 1 * USD }], ["open", { amount: 9 * USD, deadline: inAnHour }],
    ["fund", { amount: 1 }], ["fund", { amount: 0 }], ["refund", { amount: 1 }], ["refund", { amount: 1 }],
  ]),
  live("to the second", {}, [
    ["create", { amount: 50 * USD }], ["open", { amount: 5 * USD, deadline: inAnHour }], ["open", { amount: 6 * USD, deadline: inAnHour }], ["wait", { amount: HOUR }], ["lapse", { session: 1 }],
    ["close", { session: 1, amount: 5 * USD }], ["wait", { amount: 1 }], ["close", { session: 2, amount: 5 * USD }], ["lapse", { session: 2 }], ["lapse", { session: 2 }],
    ["close", { session: 2, amount: 1 }], ["lapse", { session: 1 }], ["open", { amount: 1, deadline: inAnHour }], ["lapse", { session: 9 }], ["close", { session: 9, amount: 1 }],
  ]),
  live("deadlines have a latest second", { expiry: START + 60 * DAY }, [
    ["create", { amount: 50 * USD }], ["open", { amount: 1, deadline: START + 30 * DAY }], ["open", { amount: 1, deadline: START + 30 * DAY + 1 }], ["open", { amount: 1, deadline: START - 1 }],
    ["wait", { amount: 40 * DAY }], ["open", { amount: 1, deadline: START + 60 * DAY }], ["open", { amount: 1, deadline: START + 60 * DAY + 1 }],
  ]),
  live("expiry takes everything, reservations too", {}, [
    ["create", { amount: 40 * USD }], ["open", { amount: 5 * USD, deadline: EXPIRY }], ["open", { amount: 6 * USD, deadline: EXPIRY }], ["open", { amount: 7 * USD, deadline: inAnHour }],
    ["close", { session: 1, amount: 2 * USD }], ["expire"], ["wait", { amount: 20 * DAY }], ["expire"], ["fund", { amount: 1 * USD }], ["wait", { amount: 1 }], ["fund", { amount: 1 * USD }],
    ["open", { amount: 1, deadline: EXPIRY }], ["lapse", { session: 3 }], ["expire"], ["expire"], ["lapse", { session: 2 }], ["close", { session: 2, amount: 1 }], ["refund", { amount: ALL }],
    ["withdraw", { amount: 2 * USD + 1 }], ["withdraw", { amount: 2 * USD }],
  ]),
  live("agents come and go", {}, [
    ["create", { amount: 40 * USD }], ["open", { agent: 1, amount: 1, deadline: inAnHour }], ["addAgent", { agent: 1 }], ["addAgent", { agent: 1 }], ["open", { agent: 1, amount: 5 * USD, deadline: inAnHour }],
    ["removeAgent", { agent: 1 }], ["removeAgent", { agent: 1 }], ["open", { agent: 1, amount: 1, deadline: inAnHour }], ["close", { session: 1, amount: 5 * USD }], ["removeAgent", { agent: 2 }],
  ]),
  live("one signature, one session", {}, [
    ["create", { amount: 40 * USD }], ["openSigned", { amount: USD, deadline: inAnHour, nonce: 1 }], ["openSigned", { amount: USD, deadline: inAnHour, nonce: 0 }],
    ["openSigned", { amount: USD, deadline: inAnHour, nonce: 0 }], ["open", { amount: USD, deadline: inAnHour }], ["openSigned", { amount: LIMIT + 1, deadline: inAnHour, nonce: 1 }],
    ["openSigned", { amount: USD, deadline: inAnHour, nonce: 1 }], ["removeAgent", { agent: 0 }], ["openSigned", { amount: USD, deadline: inAnHour, nonce: 2 }], ["addAgent", { agent: 0 }],
    ["openSigned", { amount: USD, deadline: inAnHour, nonce: 0 }], ["openSigned", { amount: USD, deadline: inAnHour, nonce: 2 }],
  ]),
  live("open to all", { openToAll: true }, [
    ["create", { amount: 20 * USD }], ["open", { agent: 2, amount: 5 * USD, deadline: inAnHour }], ["openSigned", { agent: 1, amount: 5 * USD, deadline: inAnHour, nonce: 0 }],
    ["addAgent", { agent: 1 }], ["removeAgent", { agent: 1 }], ["close", { session: 1, amount: 5 * USD }], ["close", { session: 2, amount: 1 }],
  ]),
];
