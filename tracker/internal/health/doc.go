// Package health watches the capture itself: its clock, copies, and what it cut.
package health
