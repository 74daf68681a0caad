"""A camera driver as others write it: rclpy alone, nothing of this project.

Publishes 10 images a second of WIDTH x HEIGHT, COUNT in all, once somebody listens; RELIABILITY is
"reliable" or "best_effort". Ends when it is told to.
"""

import array
import sys
import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

width, height, count = map(int, sys.argv[1:4])
rclpy.init()
node = rclpy.create_node("driver")
quality = QoSProfile(depth=10, reliability=ReliabilityPolicy[sys.argv[4].upper()])
publisher = node.create_publisher(Image, "image", quality)
image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
image.data = array.array("B", bytes(3 * width * height))
end = time.monotonic() + 20
while not publisher.get_subscription_count():
    time.sleep(0.05)
    if time.monotonic() > end:
        sys.exit("nobody listens")
time.sleep(1.0)  # the subscription has to find the publisher too
for _ in range(count):
    image.header.stamp = node.get_clock().now().to_msg()
    publisher.publish(image)
    time.sleep(0.1)
print("sent", flush=True)
rclpy.spin(node)
