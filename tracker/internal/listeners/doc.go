// Package listeners remembers which ports listen.
package listeners
