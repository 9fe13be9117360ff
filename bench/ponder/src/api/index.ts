import { Hono } from "hono";

// Ponder wants an API file; nothing is asked of it here.
export default new Hono();
