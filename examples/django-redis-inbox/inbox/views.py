"""The API's one view."""

from rest_framework import status
from rest_framework.response import Response
from rest_framework.views import APIView

from .notifications import add_notification
from .serializers import ApproverGroupSerializer


class ApproverGroupView(APIView):
    """Creates groups, and notifies whoever created one."""

    def post(self, request):
        serializer = ApproverGroupSerializer(data=request.data)
        if serializer.is_valid():
            if not request.user.is_authenticated:
                return Response({"error": "User not authenticated"}, status=status.HTTP_401_UNAUTHORIZED)
            try:
                add_notification(
                    user_id=request.user.id,
                    message="New approver group created successfully."
                )
                serializer.save()
                return Response(serializer.data, status=status.HTTP_201_CREATED)
            except Exception as e:
                return Response({"error": f"Failed to queue notification or save: {str(e)}"}, status=status.HTTP_500_INTERNAL_SERVER_ERROR)
        return Response({"error": "Invalid data", "details": serializer.errors}, status=status.HTTP_400_BAD_REQUEST)
