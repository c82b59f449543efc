// Package recent is what is remembered of the newest segments of a connection.
package recent
