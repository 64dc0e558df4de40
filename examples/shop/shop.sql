-- A small shop: 40 customers, 1,200 orders of the years 2023 to 2025, and what visitors left in their carts.
CREATE TABLE customers (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL,
  email TEXT NOT NULL
);
CREATE TABLE orders (
  id          INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id),
  total       REAL NOT NULL,
  status      TEXT NOT NULL,
  note        TEXT,
  ordered_at  TEXT NOT NULL
);
CREATE INDEX orders_by_time ON orders (ordered_at);
CREATE TABLE carts (
  id         INTEGER PRIMARY KEY,
  item       TEXT NOT NULL,
  changed_at TEXT NOT NULL
);

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO customers SELECT i, 'Customer ' || i, 'customer' || i || '@example.com' FROM n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1199)
INSERT INTO orders
SELECT i + 1, i * 7 % 40 + 1, round(5 + i * 37 % 20000 / 100.0, 2),
  CASE i % 9 WHEN 0 THEN 'open' WHEN 1 THEN 'returned' ELSE 'paid' END,
  CASE i % 5 WHEN 0 THEN 'please ring, "twice"' WHEN 1 THEN '=gift' END,
  strftime('%Y-%m-%dT%H:%M:%SZ', '2023-01-01', '+' || (i * 21) || ' hours')
FROM n;

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 299)
INSERT INTO carts SELECT i + 1, 'item ' || i % 17, strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-' || i || ' days') FROM n;
