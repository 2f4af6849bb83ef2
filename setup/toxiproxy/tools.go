//go:build tools

// Package toxiproxy keeps the fault proxy of the tests in go.mod.
package toxiproxy

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
