// Package duplicates finds packets that a capture holds twice.
package duplicates
